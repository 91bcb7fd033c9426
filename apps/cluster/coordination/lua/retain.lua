-- Retained messages. KEYS: prefix. ARGV: name, incarnation, "1" to leave alone what is there already, and tell nobody, else
-- "0", news for the others without their sequence, then for each: topic, message or "", when it expires (Redis' seconds) or "".
-- Answers the sequence, or "lost" where the node is no member.
local p, name, incarnation = KEYS[1], ARGV[1], ARGV[2]
local known = redis.call('HGET', p .. ':nodes', name)
if not known or known:match('^(%S+)') ~= incarnation then
  return 'lost'
end
local key, expiring = p .. ':retained', p .. ':retained:expiring'
for i = 5, #ARGV, 3 do
  local topic, message, expires = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if ARGV[3] == '0' or redis.call('HEXISTS', key, topic) == 0 then
    if message == '' then
      redis.call('HDEL', key, topic)
    else
      redis.call('HSET', key, topic, message)
    end
    if message == '' or expires == '' then
      redis.call('ZREM', expiring, topic)
    else
      redis.call('ZADD', expiring, expires, topic)
    end
  end
end
if ARGV[3] == '1' then
  return tonumber(redis.call('GET', p .. ':retained:seq') or '0')
end
local sequence = redis.call('INCR', p .. ':retained:seq')
redis.call('PUBLISH', p .. ':news', ARGV[4] .. cmsgpack.pack(sequence))
return sequence
