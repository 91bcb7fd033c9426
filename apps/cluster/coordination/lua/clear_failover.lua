-- Clear away some of a dead node's client ids, save those whose wills are still to be published.
-- KEYS: prefix. ARGV: failed node ("<name> <incarnation>"), token, cursor, how many, then client ids whose wills are done.
-- Answers {next cursor}, or {} where the token is no longer that failover's.
local p, failed = KEYS[1], ARGV[1]
local known = redis.call('HGET', p .. ':graves', failed)
if not known or known:match('^(%d+)') ~= ARGV[2] then
  return {}
end
for i = 5, #ARGV do
  redis.call('HDEL', p .. ':wills:' .. failed, ARGV[i])
end

-- A client's session goes on without it, and ends when its time is over.
local now = tonumber(redis.call('TIME')[1])
local function leave(client)
  local session = p .. ':session:' .. client
  local expiry = redis.call('HGET', session, 'expiry')
  if expiry then
    redis.call('HSET', session, 'node', '')
    if tonumber(expiry) < 4294967295 and redis.call('HEXISTS', session, 'expires_at') == 0 then
      local due = string.format('%.0f', now + tonumber(expiry))
      redis.call('HSET', session, 'expires_at', due)
      redis.call('ZADD', p .. ':expiring', due, client)
    end
  end
end

local found = redis.call('HSCAN', p .. ':clients:' .. failed, ARGV[3], 'COUNT', ARGV[4])
local pairs_ = found[2]
for i = 1, #pairs_, 2 do
  local client = pairs_[i]
  if redis.call('HEXISTS', p .. ':wills:' .. failed, client) == 0 then
    local key = p .. ':owner:' .. client
    local owner = redis.call('GET', key)
    if owner and owner:match('^%d+ (.*)$') == failed then
      redis.call('DEL', key)
      leave(client)
    end
    redis.call('HDEL', p .. ':clients:' .. failed, client)
  end
end
if found[1] == '0' and redis.call('EXISTS', p .. ':clients:' .. failed, p .. ':wills:' .. failed) == 0 then
  redis.call('UNLINK', p .. ':routes:' .. failed)
  redis.call('HDEL', p .. ':graves', failed)
end
return {found[1]}
