-- What the scripts of durable sessions have in common; it stands before each of them. KEYS: prefix.
local p = KEYS[1]
local ROUTES = p .. ':routes:@sessions -'
local EVERY = 500  -- entries read at once where there may be many

local function number(n)
  return string.format('%.0f', n)  -- 14 digits are all that Lua would write by itself
end

-- Sessions as they are while a script runs; `write_back` writes what has changed.
local most, most_bytes, policy = 0, 0, ''
local sessions, touched, drops = {}, {}, {}

local function session(client)
  local found = sessions[client]
  if found == nil then
    local key = p .. ':session:' .. client
    local values = redis.call('HMGET', key, 'node', 'seq', 'bytes')
    if values[1] then
      local queue = p .. ':queue:' .. client
      found = {
        client = client, key = key, node = values[1], place = tonumber(values[2] or '0'),
        bytes = tonumber(values[3] or '0'), queue = queue, count = redis.call('XLEN', queue), marks = {},
        dirty = false, new = false, full = false,
      }
      touched[#touched + 1] = client
    else
      found = false
    end
    sessions[client] = found
  end
  return found
end

local function write_back()
  for _, client in ipairs(touched) do
    local one = sessions[client]
    if one and one.dirty then
      redis.call('HSET', one.key, 'seq', number(one.place), 'bytes', number(one.bytes))
      for place, mark in pairs(one.marks) do
        redis.call('HSET', p .. ':marks:' .. client, place, number(mark))
      end
    end
  end
end

-- Messages ------------------------------------------------------------------------------------------

-- What an entry says of its message is no longer needed. Answers its size, when it would have expired (0: never) and,
-- where asked for, its topic.
local function let_go(entry, with_topic)
  local said, message = cmsgpack.unpack(entry[2]), entry[4]
  if said[6] ~= '' then
    local key = p .. ':message:' .. said[6]
    if with_topic then
      message = redis.call('HGET', key, 'm')
    end
    if redis.call('HINCRBY', key, 'n', -1) <= 0 then
      redis.call('DEL', key)
    end
  end
  return said[4], said[7], with_topic and message and cmsgpack.unpack(message)[1] or ''
end

local function take_out(one, id, entry, with_topic)
  redis.call('XDEL', one.queue, id)
  local size, expires, topic = let_go(entry, with_topic)
  if expires > 0 then
    redis.call('ZREM', p .. ':due:' .. one.client, id:match('^%d+'))
  end
  one.count = one.count - 1
  one.bytes = one.bytes - size
  one.dirty = true
  return topic
end

local function drop(one, reason, topic)
  drops[#drops + 1] = one.client
  drops[#drops + 1] = one.node
  drops[#drops + 1] = reason
  drops[#drops + 1] = topic
end

-- One that is not in flight leaves the head of the queue. False: all are.
local function shorten(one)
  local from = one.head or '-'
  while true do
    local found = redis.call('XRANGE', one.queue, from, '+', 'COUNT', 1)
    if #found == 0 then
      return false
    end
    local id, entry = found[1][1], found[1][2]
    from = '(' .. id
    one.head = from
    if redis.call('HEXISTS', p .. ':inflight:' .. one.client, id:match('^%d+')) == 0 then
      drop(one, 'queue_full', take_out(one, id, entry, true))
      return true
    end
  end
end

-- Is there room?
local function admit(one, size, topic)
  while one.count + 1 > most or one.bytes + size > most_bytes do
    if policy ~= 'drop_oldest' or size > most_bytes or not shorten(one) then
      one.full = policy == 'disconnect'
      drop(one, 'queue_full', topic)
      return false
    end
  end
  return true
end

-- When what is said of a message says that it expires; often it is the same for many sessions.
local last_said, last_expires
local function expiry(said)
  if said ~= last_said then
    last_said, last_expires = said, cmsgpack.unpack(said)[7]
  end
  return last_expires
end

local function put(one, size, said, message)
  one.place = one.place + 1
  one.count = one.count + 1
  one.bytes = one.bytes + size
  one.new, one.dirty = true, true
  redis.call('XADD', one.queue, number(one.place) .. '-0', 'd', said, 'm', message)
  local expires = expiry(said)
  if expires > 0 then
    redis.call('ZADD', p .. ':due:' .. one.client, number(expires), number(one.place))
    redis.call('ZADD', p .. ':due', 'LT', number(expires), one.client)
  end
end

-- Subscriptions -------------------------------------------------------------------------------------

local changed, subscribed = {}, false

-- Does it want records?
local function wants(options)
  return options ~= '' and cmsgpack.unpack(options)[1] > 0
end

-- With these options ("": not any more): known to the bridges by the log, to the nodes by `announce`.
local function subscribe(client, name, options)
  subscribed = true
  local key = p .. ':subs:' .. client
  local before = redis.call('HGET', key, name) or ''
  if before == options then
    return
  end
  if options == '' then
    redis.call('HDEL', key, name)
  else
    redis.call('HSET', key, name, options)
  end
  local was, is = wants(before), wants(options)
  if was ~= is then
    local left = redis.call('HINCRBY', ROUTES, name, is and 1 or -1)
    if left <= 0 then
      redis.call('HDEL', ROUTES, name)
      redis.call('DEL', p .. ':taken:' .. name)
      changed[name] = ''
    elseif left == 1 and is then
      changed[name] = '1'
    end
  end
  local version = number(redis.call('INCR', p .. ':index:version'))
  redis.call('XADD', p .. ':index', 'MAXLEN', '~', 100000, version .. '-0', 'c', client, 'f', name, 'o', options)
end

-- Tell the nodes what is wanted now, also where that is what they know: each says so to the one that asks.
-- Answers the version that they have to follow (0: none), and all nodes.
local function announce(name)
  if not subscribed then
    return 0, {}
  end
  local list = {}
  for filter, value in pairs(changed) do
    list[#list + 1] = {filter, value}
  end
  local version = redis.call('HINCRBY', ROUTES, '', 1)
  redis.call('PUBLISH', p .. ':news', cmsgpack.pack({'routes', '@sessions -', version, list, false, name}))
  return version, redis.call('HGETALL', p .. ':nodes')
end

-- The end of a session. Answers how many messages were queued.
local function finish(client)
  for _, name in ipairs(redis.call('HKEYS', p .. ':subs:' .. client)) do
    subscribe(client, name, '')
  end
  local queue = p .. ':queue:' .. client
  local count, from = redis.call('XLEN', queue), '-'
  while true do
    local found = redis.call('XRANGE', queue, from, '+', 'COUNT', EVERY)
    for _, each in ipairs(found) do
      let_go(each[2], false)
      from = '(' .. each[1]
    end
    if #found < EVERY then
      break
    end
  end
  redis.call('DEL', p .. ':session:' .. client, p .. ':subs:' .. client, queue, p .. ':marks:' .. client,
    p .. ':inflight:' .. client, p .. ':incoming:' .. client, p .. ':due:' .. client)
  redis.call('SREM', p .. ':sessions', client)
  redis.call('ZREM', p .. ':due', client)
  redis.call('ZREM', p .. ':expiring', client)
  sessions[client] = false
  return count
end

-- Is the client id this node's?
local function owns(me, client)
  local owner = redis.call('GET', p .. ':owner:' .. client)
  return owner and owner:match('^%d+ (.*)$') == me
end
