-- All of a session but its queue, for a backup. ARGV: client id, hours since 1970.
-- Answers {} where there is none; else {session, subscriptions, QoS 2 identifiers, in flight: flat hashes; names of those
-- QoS 2 messages that queues have; the last place of the queue}.
local client = ARGV[1]
local key = p .. ':session:' .. client
if redis.call('EXISTS', key) == 0 then
  return {}
end
local incoming, arrived = redis.call('HGETALL', p .. ':incoming:' .. client), {}
for i = 2, #incoming, 2 do
  for back = 0, 2 do
    if redis.call('HEXISTS', p .. ':ids:' .. number(tonumber(ARGV[2]) - back), incoming[i]) == 1 then
      arrived[#arrived + 1] = incoming[i]
      break
    end
  end
end
local last = redis.call('XREVRANGE', p .. ':queue:' .. client, '+', '-', 'COUNT', 1)
return {redis.call('HGETALL', key), redis.call('HGETALL', p .. ':subs:' .. client), incoming,
  redis.call('HGETALL', p .. ':inflight:' .. client), arrived, last[1] and last[1][1] or '0-0'}
