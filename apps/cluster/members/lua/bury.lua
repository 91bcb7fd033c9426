-- Take a node's affairs over: it is dead, or who was burying it is. KEYS: prefix.
-- ARGV: name, life, count of its last beat ("": the grave is there), my name and life.
-- Answers the token of the grave, or 0: somebody else was quicker, or it lives.
local p, name, life, count, me = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local grave = name .. ' ' .. life
local own = redis.call('HGET', p .. ':nodes', me:match('^(%S+)'))
if not own or own:match('^(%S+)') ~= me:match('^%S+ (%S+)') then
  return 0
end
local time = redis.call('TIME')
local died = time[1]
if count ~= '' then
  local known = redis.call('HGET', p .. ':nodes', name)
  if not known or known:match('^(%S+ %S+)') ~= life .. ' ' .. count then
    return 0
  end
  redis.call('HDEL', p .. ':nodes', name)
  redis.call('PUBLISH', p .. ':news', ARGV[5])
else
  local known = redis.call('HGET', p .. ':graves', grave)
  if not known then
    return 0
  end
  local digger_name, digger_life, since = known:match('^%d+ (%S+) (%S+) (%d+)')
  local digger = redis.call('HGET', p .. ':nodes', digger_name)
  if digger and digger:match('^(%S+)') == digger_life then
    return 0
  end
  died = since
end
local token = string.format('%.0f', redis.call('INCR', p .. ':epoch'))
redis.call('HSET', p .. ':graves', grave, token .. ' ' .. me .. ' ' .. died)
return token
