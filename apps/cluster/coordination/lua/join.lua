-- A node joins. KEYS: prefix. ARGV: name, incarnation, what it says of itself, an id in case the cluster has none.
-- Answers {"ok", cluster id} or {"taken", what the node of that name last said} or {"buried"}: its former incarnation
-- is still being cleared away.
local p, name, incarnation = KEYS[1], ARGV[1], ARGV[2]
local known = redis.call('HGET', p .. ':nodes', name)
if known and known:match('^(%S+)') ~= incarnation then
  return {'taken', known}
end
local failovers = redis.call('HGETALL', p .. ':graves')
for i = 1, #failovers, 2 do
  if failovers[i]:match('^(%S+)') == name then
    local runner, runner_incarnation = failovers[i + 1]:match('^%d+ (%S+) (%S+)')
    local alive = redis.call('HGET', p .. ':nodes', runner)
    if alive and alive:match('^(%S+)') == runner_incarnation then
      return {'buried'}
    end
  end
end
-- The epochs of one cluster only grow: through a restart of Redis by the append-only file, and where that was
-- lost (or somebody emptied Redis) by the clock that they begin from.
local time = redis.call('TIME')
redis.call('SET', p .. ':epoch', string.format('%s%06d', time[1], time[2]), 'NX')
redis.call('SET', p .. ':cluster', ARGV[4], 'NX')
redis.call('HSET', p .. ':nodes', name, incarnation .. ' 0 ' .. ARGV[3])
return {'ok', redis.call('GET', p .. ':cluster')}
