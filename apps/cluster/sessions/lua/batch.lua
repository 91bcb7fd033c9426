-- What a node has recorded of its clients' sessions, in its order.
-- ARGV: name, incarnation, messages and bytes that a session may have queued, what happens above that, number of sessions;
--   and for each of those client id, number of steps, then for each a letter and
--   E (it ends); S (saved) username, when it was created, expiry interval, "1" where its client is connected else "";
--   + filter as the client wrote it, options ("": unsubscribed); i QoS 2 identifier, what it is known by ("": free);
--   a size, topic, what the queue says of it, message; = place, "<packet id> <state>"; x place (done with);
--   p (purge all but what is in flight);
--   l after which place, messages and bytes at most, messages behind it that the node has
-- Answers {places in the list of sessions that another node has, those with something new, pages {place of the session, rest,
--   bytes of the queue, {{place, said, message}, ...}}, purges {place of the session, topic, ...}, drops {client id,
--   node or "", reason, topic, ...}, {client id whose session ended, messages that were queued, ...}, version of the
--   subscriptions or 0, all nodes}.
local name = ARGV[1]
local me = name .. ' ' .. ARGV[2]
most, most_bytes, policy = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local lost, grown, pages, purges, ended = {}, {}, {}, {}, {}
local arity = {E = 0, S = 4, ['+'] = 2, i = 2, a = 4, ['='] = 2, x = 1, p = 0, l = 4}

local function save(client, username, created, expiry, online)
  local key = p .. ':session:' .. client
  local before = redis.call('HGET', key, 'node')
  redis.call('HSET', key, 'node', online == '1' and name or '', 'username', username, 'created', created,
    'expiry', expiry)
  redis.call('SADD', p .. ':sessions', client)
  if online == '1' then
    redis.call('HDEL', key, 'expires_at')
    redis.call('ZREM', p .. ':expiring', client)
  elseif before ~= '' and tonumber(expiry) < 4294967295 then
    local time = redis.call('TIME')
    local due = number(tonumber(time[1]) + tonumber(expiry))
    redis.call('HSET', key, 'expires_at', due)
    redis.call('ZADD', p .. ':expiring', due, client)
  end
  if sessions[client] then
    sessions[client].node = online == '1' and name or ''
  else
    sessions[client] = nil
  end
end

local function purge(one)
  local topics, from = {}, '-'
  while true do
    local found = redis.call('XRANGE', one.queue, from, '+', 'COUNT', EVERY)
    for _, each in ipairs(found) do
      from = '(' .. each[1]
      if redis.call('HEXISTS', p .. ':inflight:' .. one.client, each[1]:match('^%d+')) == 0 then
        topics[#topics + 1] = take_out(one, each[1], each[2], true)
      end
    end
    if #found < EVERY then
      return topics
    end
  end
end

local function page(one, after, count, size, known)
  local found, from, octets = {}, '(' .. after .. '-0', 0
  while #found < count do
    local entries = redis.call('XRANGE', one.queue, from, '+', 'COUNT', math.min(count - #found, EVERY))
    for _, each in ipairs(entries) do
      local entry = each[2]
      local said, message = cmsgpack.unpack(entry[2]), entry[4]
      if octets + said[4] > size and #found > 0 then
        return found
      end
      octets = octets + said[4]
      if said[6] ~= '' then
        message = redis.call('HGET', p .. ':message:' .. said[6], 'm')
      end
      from = '(' .. each[1]
      found[#found + 1] = {each[1]:match('^%d+'), entry[2], message}
    end
    if #entries == 0 then
      return found
    end
  end
  return found
end

local at = 7
for index = 1, tonumber(ARGV[6]) do
  local client, steps = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  local mine = owns(me, client)
  if not mine then
    lost[#lost + 1] = index
  end
  local inflight, incoming = p .. ':inflight:' .. client, p .. ':incoming:' .. client
  local appended = false
  for _ = 1, steps do
    local what = ARGV[at]
    local a, b, c, d = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    at = at + 1 + arity[what]
    if not mine then
      -- whoever has it now has the last word
    elseif what == 'E' then
      local count = finish(client)
      if count > 0 then
        ended[#ended + 1] = client
        ended[#ended + 1] = count
      end
    elseif what == 'S' then
      save(client, a, b, c, d)
    elseif session(client) then
      local one = session(client)
      if what == '+' then
        subscribe(client, a, b)
      elseif what == 'i' then
        if b == '' then
          redis.call('HDEL', incoming, a)
        else
          redis.call('HSET', incoming, a, b)
        end
      elseif what == 'a' then
        if admit(one, tonumber(a), b) then
          put(one, tonumber(a), c, d)
          appended = true
        end
      elseif what == '=' then
        -- under this policy a bridge may have dropped what the node had read of the queue
        local id = a .. '-0'
        if policy ~= 'drop_oldest' or #redis.call('XRANGE', one.queue, id, id) > 0 then
          redis.call('HSET', inflight, a, b)
        end
      elseif what == 'x' then
        local id = a .. '-0'
        local found = redis.call('XRANGE', one.queue, id, id)
        if #found > 0 then
          take_out(one, id, found[1][2], false)
        end
        redis.call('HDEL', inflight, a)
      elseif what == 'p' then
        purges[#purges + 1] = {index, purge(one)}
      elseif what == 'l' then
        local found = page(one, a, tonumber(b), tonumber(c))
        local rest = one.count - redis.call('HLEN', inflight) - tonumber(d) - #found
        pages[#pages + 1] = {index, rest, number(one.bytes), found}
      end
    end
  end
  if appended then
    grown[#grown + 1] = index
  end
end
write_back()
local version, nodes = announce(name)
return {lost, grown, pages, purges, drops, ended, version, nodes}
