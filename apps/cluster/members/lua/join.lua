-- A node joins. KEYS: prefix. ARGV: name, life, what it says of itself, an id in case the cluster has none.
-- Answers {"ok", cluster id} or {"taken", what the node of that name last said} or {"buried"}: its former life
-- is still being cleared away.
local p, name, life = KEYS[1], ARGV[1], ARGV[2]
local known = redis.call('HGET', p .. ':nodes', name)
if known and known:match('^(%S+)') ~= life then
  return {'taken', known}
end
local graves = redis.call('HGETALL', p .. ':graves')
for i = 1, #graves, 2 do
  if graves[i]:match('^(%S+)') == name then
    local digger, digger_life = graves[i + 1]:match('^%d+ (%S+) (%S+)')
    local alive = redis.call('HGET', p .. ':nodes', digger)
    if alive and alive:match('^(%S+)') == digger_life then
      return {'buried'}
    end
  end
end
-- The epochs of one cluster only grow: through a restart of Redis by the append-only file, and where that was
-- lost (or somebody emptied Redis) by the clock that they begin from.
local time = redis.call('TIME')
redis.call('SET', p .. ':epoch', string.format('%s%06d', time[1], time[2]), 'NX')
redis.call('SET', p .. ':cluster', ARGV[4], 'NX')
redis.call('HSET', p .. ':nodes', name, life .. ' 0 ' .. ARGV[3])
return {'ok', redis.call('GET', p .. ':cluster')}
