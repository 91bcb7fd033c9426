-- Messages whose time is over leave the queues of clients that are away. ARGV: how many at most.
-- Answers drops as queue.lua does. Where a node has the session it sees to it when it sends them; what is in flight is
-- the client's.
local left, time, again = tonumber(ARGV[1]), redis.call('TIME')[1], 30

local function expire(one, key)
  for _, place in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', time, 'LIMIT', 0, left)) do
    local id = place .. '-0'
    local found = redis.call('XRANGE', one.queue, id, id)
    left = left - 1
    redis.call('ZREM', key, place)
    if #found > 0 and redis.call('HEXISTS', p .. ':inflight:' .. one.client, place) == 0 then
      drop(one, 'expired', take_out(one, id, found[1][2], true))
      redis.call('SADD', p .. ':grown', one.client)
    end
  end
end

for _, client in ipairs(redis.call('ZRANGEBYSCORE', p .. ':due', '-inf', time, 'LIMIT', 0, left)) do
  local one, key = session(client), p .. ':due:' .. client
  local away = redis.call('EXISTS', p .. ':owner:' .. client) == 0
  if one and away and left > 0 then
    expire(one, key)
  end
  local following = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if not one or not following then
    redis.call('ZREM', p .. ':due', client)
  else
    redis.call('ZADD', p .. ':due', away and following or number(tonumber(time) + again), client)
  end
end
write_back()
return drops
