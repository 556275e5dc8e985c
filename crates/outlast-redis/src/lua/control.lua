-- Replaces rules and pauses if nobody else has: now, origin, the expected and the new document, the
-- number of rules, names and figures, and what is paused.

local now = tonumber(ARGV[1])
if (call('GET', prefix .. 'controls') or '') ~= ARGV[3] then return 0 end
call('SET', prefix .. 'controls', ARGV[4])
call('DEL', prefix .. 'rules', prefix .. 'paused', prefix .. 'opening')
local rules = tonumber(ARGV[5])
for index = 0, rules - 1 do
  call('HSET', prefix .. 'rules', ARGV[6 + 2 * index], ARGV[7 + 2 * index])
end
for index = 6 + 2 * rules, #ARGV do call('SADD', prefix .. 'paused', ARGV[index]) end
for _, key in ipairs(call('ZRANGE', prefix .. 'rates', 0, -1)) do
  local opens = opens_at(key)
  if opens and opens > now then call('ZADD', prefix .. 'opening', int(opens), key) end
end
-- What is parked was parked by the old rules.
for _, group in ipairs(call('SMEMBERS', prefix .. 'groups')) do
  local lanes = call('HGETALL', place_key(group))
  for index = 1, #lanes, 2 do
    local lane, stands = lanes[index], lanes[index + 1]
    local place, gate = string.sub(stands, 1, 16), string.sub(stands, 17)
    if gate ~= '' then
      call('ZREM', parked_key(group, gate), place .. lane)
      unpark(group, gate)
      call('ZADD', open_key(group), 0, place .. lane)
      call('HSET', place_key(group), lane, place)
    end
  end
  call('DEL', offered_key(group), offer_key(group))
end
publish(ARGV[2], 'R\nD' .. int(now), {})
return 1
