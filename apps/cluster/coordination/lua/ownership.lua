-- Claims, releases and changed wills of one node, in their order.
-- KEYS: prefix. ARGV: name, incarnation, then four for each: what, client id, and
--   "claim", "1" where its session goes on else "0", "<delay> <due> <will>" or ""
--   "release", epoch ("": any of this node's), ""
--   "will", epoch, as above
-- Answers for each: a claim's epoch, below 0 where the client has a session in Redis, or who has the client id
-- ("<epoch> <name> <incarnation>"); 0 for the others.
-- Answers "lost" where the node is no member.
local p, name, incarnation = KEYS[1], ARGV[1], ARGV[2]
local me = name .. ' ' .. incarnation

local incarnations = {}
local function alive(name, incarnation)
  if incarnations[name] == nil then
    local known = redis.call('HGET', p .. ':nodes', name)
    incarnations[name] = known and known:match('^(%S+)') or ''
  end
  return incarnations[name] == incarnation
end

if not alive(name, incarnation) then
  return 'lost'
end
local clients, wills = p .. ':clients:' .. me, p .. ':wills:' .. me

local function keep_will(client, will)
  if will == '' then
    redis.call('HDEL', wills, client)
  else
    redis.call('HSET', wills, client, will)
  end
end

local answers = {}
for i = 3, #ARGV, 4 do
  local what, client, a, b = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = p .. ':owner:' .. client
  local owner = redis.call('GET', key)
  local answer = 0
  if what == 'claim' then
    local other, other_incarnation
    if owner then
      other, other_incarnation = owner:match('^%d+ (%S+) (%S+)$')
    end
    if owner and (other ~= name or other_incarnation ~= incarnation) and alive(other, other_incarnation) then
      answer = owner
    else
      if owner and (other ~= name or other_incarnation ~= incarnation) then
        -- It died. A will that waits is off when the client goes on with its session [MQTT-3.1.3-9].
        local dead = other .. ' ' .. other_incarnation
        local will = redis.call('HGET', p .. ':wills:' .. dead, client)
        if will and a == '1' and not will:match('^0 0 ') then
          redis.call('HDEL', p .. ':wills:' .. dead, client)
        end
        redis.call('HDEL', p .. ':clients:' .. dead, client)
      end
      answer = redis.call('INCR', p .. ':epoch')
      local epoch = string.format('%.0f', answer)  -- 14 digits are all that Lua would write by itself
      redis.call('SET', key, epoch .. ' ' .. me)
      redis.call('HSET', clients, client, epoch)
      keep_will(client, b)
      if redis.call('EXISTS', p .. ':session:' .. client) == 1 then
        answer = -answer
      end
    end
  elseif owner and (owner == a .. ' ' .. me or (a == '' and owner:match('^%d+ (.*)$') == me)) then
    if what == 'release' then
      redis.call('DEL', key)
      redis.call('HDEL', clients, client)
      redis.call('HDEL', wills, client)
    else
      keep_will(client, b)
    end
  end
  answers[#answers + 1] = answer
end
return answers
