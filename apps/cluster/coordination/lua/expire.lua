-- Take away retained messages that have expired; every node has done so for itself. KEYS: prefix. ARGV: how many.
local p = KEYS[1]
local topics = redis.call(
  'ZRANGEBYSCORE', p .. ':retained:expiring', '-inf', redis.call('TIME')[1], 'LIMIT', 0, ARGV[1])
for _, topic in ipairs(topics) do
  redis.call('HDEL', p .. ':retained', topic)
  redis.call('ZREM', p .. ':retained:expiring', topic)
end
return #topics
