-- Sessions whose time is over. ARGV: how many at most, name of the node that asks.
-- Answers {client id, messages that were queued, ...}. Those that a node has in its memory are its own business.
local time = redis.call('TIME')[1]
local ended = {}
for _, client in ipairs(redis.call('ZRANGEBYSCORE', p .. ':expiring', '-inf', time, 'LIMIT', 0, ARGV[1])) do
  if redis.call('EXISTS', p .. ':owner:' .. client) == 1 then
    redis.call('ZADD', p .. ':expiring', number(tonumber(time) + 30), client)
  else
    ended[#ended + 1] = client
    ended[#ended + 1] = finish(client)
  end
end
announce(ARGV[2])
return ended
