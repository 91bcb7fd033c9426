-- A session from a backup, in parts. ARGV: client id, number of steps, and for each a letter and
--   S username, when it was created, expiry interval, when it ends ("": never); + filter as the client wrote it, options;
--   i QoS 2 identifier, what it is known by, the hour under which that stands as arrived ("": it did not arrive);
--   a size, what the queue says of it, message or "", name under which it is stored once or "", message for that,
--     "<packet id> <state>" or "".
local client = ARGV[1]
local key = p .. ':session:' .. client
local arity = {S = 4, ['+'] = 2, i = 3, a = 6}
local at = 3
for _ = 1, tonumber(ARGV[2]) do
  local what, a, b, c, d, e, f = unpack(ARGV, at, at + 6)
  at = at + 1 + arity[what]
  if what == 'S' then
    redis.call('HSET', key, 'node', '', 'username', a, 'created', b, 'expiry', c)
    redis.call('SADD', p .. ':sessions', client)
    if d ~= '' then
      redis.call('HSET', key, 'expires_at', d)
      redis.call('ZADD', p .. ':expiring', d, client)
    end
  elseif what == '+' then
    subscribe(client, a, b)
  elseif what == 'i' then
    redis.call('HSET', p .. ':incoming:' .. client, a, b)
    if c ~= '' then
      redis.call('HSET', p .. ':ids:' .. c, b, 'restored')
      redis.call('EXPIRE', p .. ':ids:' .. c, 10800)
    end
  else
    local one = session(client)
    put(one, tonumber(a), b, c)
    if d ~= '' then
      redis.call('HSETNX', p .. ':message:' .. d, 'm', e)
      redis.call('HINCRBY', p .. ':message:' .. d, 'n', 1)
    end
    if f ~= '' then
      redis.call('HSET', p .. ':inflight:' .. client, number(one.place), f)
    end
  end
end
write_back()
announce('')
