-- A node leaves, having settled its affairs. KEYS: prefix. ARGV: name, incarnation.
local p, name, incarnation = KEYS[1], ARGV[1], ARGV[2]
local known = redis.call('HGET', p .. ':nodes', name)
if known and known:match('^(%S+)') == incarnation then
  redis.call('HDEL', p .. ':nodes', name)
end
local me = name .. ' ' .. incarnation
redis.call('UNLINK', p .. ':clients:' .. me, p .. ':wills:' .. me, p .. ':routes:' .. me)
redis.call('PUBLISH', p .. ':news', ARGV[3])
