-- Begin the failover of a failed node, or go on with it where the node that ran it failed, too. KEYS: prefix.
-- ARGV: name, incarnation, count of its last heartbeat ("": its failover began), my name and incarnation.
-- Answers the fencing token, or 0: another node was quicker, or the node is alive.
local p, name, incarnation, count, me = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local failed = name .. ' ' .. incarnation
local own = redis.call('HGET', p .. ':nodes', me:match('^(%S+)'))
if not own or own:match('^(%S+)') ~= me:match('^%S+ (%S+)') then
  return 0
end
local time = redis.call('TIME')
local died = time[1]
if count ~= '' then
  local known = redis.call('HGET', p .. ':nodes', name)
  if not known or known:match('^(%S+ %S+)') ~= incarnation .. ' ' .. count then
    return 0
  end
  redis.call('HDEL', p .. ':nodes', name)
  redis.call('PUBLISH', p .. ':news', ARGV[5])
else
  local known = redis.call('HGET', p .. ':graves', failed)
  if not known then
    return 0
  end
  local runner_name, runner_incarnation, since = known:match('^%d+ (%S+) (%S+) (%d+)')
  local runner = redis.call('HGET', p .. ':nodes', runner_name)
  if runner and runner:match('^(%S+)') == runner_incarnation then
    return 0
  end
  died = since
end
local token = string.format('%.0f', redis.call('INCR', p .. ':epoch'))
redis.call('HSET', p .. ':graves', failed, token .. ' ' .. me .. ' ' .. died)
return token
