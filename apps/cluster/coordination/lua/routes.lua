-- What this node's clients have subscribed to. KEYS: prefix.
-- ARGV: name, incarnation, "1" to begin anew else "0", version, news for the others, then for each filter: it as clients
-- write it, and how many want it or "" where nobody is left.
-- Answers {all nodes, retained sequence}, or "lost" where the node is no member.
local p, name, incarnation = KEYS[1], ARGV[1], ARGV[2]
local known = redis.call('HGET', p .. ':nodes', name)
if not known or known:match('^(%S+)') ~= incarnation then
  return 'lost'
end
local key = p .. ':routes:' .. name .. ' ' .. incarnation
if ARGV[3] == '1' then
  redis.call('UNLINK', key)
end
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', key, ARGV[i])
  else
    redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  end
end
if ARGV[4] ~= '' then
  redis.call('HSET', key, '', ARGV[4])
  redis.call('PUBLISH', p .. ':news', ARGV[5])
end
return {redis.call('HGETALL', p .. ':nodes'), tonumber(redis.call('GET', p .. ':retained:seq') or '0')}
