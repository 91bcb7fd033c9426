-- Some of a failed node's wills. KEYS: prefix. ARGV: failed node, token, cursor, how many.
-- Answers {next cursor, {client id, "<delay> <due> <will>", is the client back (1, 0), ...}}, or {} where the
-- token is no longer that failover's.
local p, failed = KEYS[1], ARGV[1]
local known = redis.call('HGET', p .. ':graves', failed)
if not known or known:match('^(%d+)') ~= ARGV[2] then
  return {}
end
local found = redis.call('HSCAN', p .. ':wills:' .. failed, ARGV[3], 'COUNT', ARGV[4])
local wills = {}
for i = 1, #found[2], 2 do
  local owner = redis.call('GET', p .. ':owner:' .. found[2][i])
  wills[#wills + 1] = found[2][i]
  wills[#wills + 1] = found[2][i + 1]
  wills[#wills + 1] = (owner and owner:match('^%d+ (.*)$') ~= failed) and 1 or 0
end
return {found[1], wills}
