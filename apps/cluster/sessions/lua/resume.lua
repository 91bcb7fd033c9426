-- A session, for the node that has its client id. ARGV: name, incarnation, client id.
-- Answers {} where there is none, "lost" where another node has the client id; else {session, subscriptions, QoS 2 identifiers, in
-- flight {place, "<packet id> <state>", said, message, ...}, messages queued}: the first three as flat hashes.
local client = ARGV[3]
local key = p .. ':session:' .. client
if not owns(ARGV[1] .. ' ' .. ARGV[2], client) then
  return 'lost'
elseif redis.call('EXISTS', key) == 0 then
  return {}
end
local queue, flying = p .. ':queue:' .. client, {}
local inflight = redis.call('HGETALL', p .. ':inflight:' .. client)
for i = 1, #inflight, 2 do
  local id = inflight[i] .. '-0'
  local found = redis.call('XRANGE', queue, id, id)
  if #found > 0 then
    local entry = found[1][2]
    local said, message = cmsgpack.unpack(entry[2]), entry[4]
    if said[6] ~= '' then
      message = redis.call('HGET', p .. ':message:' .. said[6], 'm')
    end
    flying[#flying + 1] = inflight[i]
    flying[#flying + 1] = inflight[i + 1]
    flying[#flying + 1] = entry[2]
    flying[#flying + 1] = message
  end
end
return {redis.call('HGETALL', key), redis.call('HGETALL', p .. ':subs:' .. client),
  redis.call('HGETALL', p .. ':incoming:' .. client), flying, redis.call('XLEN', queue)}
