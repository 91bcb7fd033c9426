-- Messages into the queues of sessions, each into each once; nodes hear of what is there for their clients.
-- ARGV: messages and bytes that a session may have queued, what happens above that (drop_newest, drop_oldest,
--   disconnect), hours since 1970, number of messages; and for each of those
--   place ("<Kafka topic>/<partition>"), offset, id where it is stored once ("": in each queue), its QoS 2 id or "",
--   "1" where it was perhaps published before, size, topic, message, number of sessions, then for each
--     client id, what its queue says of it, the shared subscription whose member it was chosen as or ""
-- What is dropped stands in `drops`, for a node that counts it.
-- Answers {how many were dropped, references written, those that were there already, 1 where a member of a shared
-- subscription was chosen whose session has ended, else 0}.
-- A session's mark tells the next offset of each place: what stands before it was queued, whoever writes it again.
-- A shared subscription has marks of its own: whoever writes again may choose another member.
most, most_bytes, policy = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local hour = tonumber(ARGV[4])
local written, known, gone = 0, 0, 0

-- Has a QoS 2 message been queued from another place? Who has it again may be quicker than who had it first.
local function repeated(id, where, again)
  if id == '' then
    return false
  end
  for back = 0, again == '1' and 2 or 1 do
    local known = redis.call('HGET', p .. ':ids:' .. number(hour - back), id)
    if known then
      return known ~= where
    end
  end
  local key = p .. ':ids:' .. number(hour)
  redis.call('HSET', key, id, where)
  redis.call('EXPIRE', key, 10800)
  return false
end

-- Is it new to the session, or to the shared subscription? Then it is not from now on.
local taken, ended = {}, {}
local function advance(one, via, place, offset)
  local marks, key = one.marks, p .. ':marks:' .. one.client
  if via ~= '' then
    marks, key = taken[via] or {}, p .. ':taken:' .. via
    taken[via] = marks
  end
  local mark = marks[place]
  if mark == nil then
    mark = tonumber(redis.call('HGET', key, place) or '0')
  end
  if offset < mark then
    marks[place] = mark
    return false
  end
  marks[place] = offset + 1
  return true
end

local at = 6
for _ = 1, tonumber(ARGV[5]) do
  local place, offset, id = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  local size, topic, message, count = tonumber(ARGV[at + 5]), ARGV[at + 6], ARGV[at + 7], tonumber(ARGV[at + 8])
  local skip = repeated(ARGV[at + 3], place .. '/' .. ARGV[at + 1], ARGV[at + 4])
  at = at + 9
  local references = 0
  for i = at, at + 3 * count - 3, 3 do
    local client, via = ARGV[i], ARGV[i + 2]
    local one = not ended[via] and session(client)
    if one then
      if skip or not advance(one, via, place, offset) then
        known = known + 1
        one.new = true  -- whoever wrote it has perhaps not said so
      else
        one.dirty = true
        if admit(one, size, topic) then
          put(one, size, ARGV[i + 1], id == '' and message or '')
          references = references + 1
        end
      end
    elseif via ~= '' then
      ended[via], gone = true, 1  -- what comes after this must not be there before it
    end
  end
  at = at + 3 * count
  written = written + references
  if references > 0 and id ~= '' then
    local key = p .. ':message:' .. id
    redis.call('HSETNX', key, 'm', message)
    redis.call('HINCRBY', key, 'n', references)
  end
end
write_back()
for via, marks in pairs(taken) do
  for place, mark in pairs(marks) do
    redis.call('HSET', p .. ':taken:' .. via, place, number(mark))
  end
end

local kinds, crowded = {}, redis.call('HLEN', p .. ':drops') >= 1000
for i = 1, #drops, 4 do
  local client, reason, topic = drops[i], drops[i + 2], drops[i + 3]
  local kind = crowded and cmsgpack.pack({'', reason, ''}) or cmsgpack.pack({client, reason, topic})
  kinds[kind] = (kinds[kind] or 0) + 1
end
for kind, count in pairs(kinds) do
  redis.call('HINCRBY', p .. ':drops', kind, count)
end

local nodes = {}
for _, client in ipairs(touched) do
  local one = sessions[client]
  if one.node == '' and one.new then
    redis.call('SADD', p .. ':grown', client)
  elseif one.node ~= '' and (one.new or one.full) then
    local mine = nodes[one.node] or {}
    nodes[one.node] = mine
    mine[#mine + 1] = {client, one.full and 1 or 0}
  end
end
for node, clients in pairs(nodes) do
  redis.call('PUBLISH', p .. ':to:' .. node, cmsgpack.pack({'wake', 'bridge', clients}))
end
return {#drops / 4, written, known, gone}
