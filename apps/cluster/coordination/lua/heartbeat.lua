-- A heartbeat. KEYS: prefix. ARGV: name, incarnation, "<count> <what it says of itself>", a message to itself.
-- Answers {am I a member, cluster id, seconds, microseconds, all nodes, all failovers, retained sequence, version of what
-- persistent sessions want}.
local p, name, incarnation = KEYS[1], ARGV[1], ARGV[2]
local known = redis.call('HGET', p .. ':nodes', name)
local member = 0
if known and known:match('^(%S+)') == incarnation then
  member = 1
  redis.call('HSET', p .. ':nodes', name, incarnation .. ' ' .. ARGV[3])
end
redis.call('PUBLISH', p .. ':to:' .. name, ARGV[4])
local time = redis.call('TIME')
return {
  member,
  redis.call('GET', p .. ':cluster') or '',
  time[1], time[2],
  redis.call('HGETALL', p .. ':nodes'),
  redis.call('HGETALL', p .. ':graves'),
  tonumber(redis.call('GET', p .. ':retained:seq') or '0'),
  tonumber(redis.call('HGET', p .. ':routes:@sessions -', '') or '0'),
}
