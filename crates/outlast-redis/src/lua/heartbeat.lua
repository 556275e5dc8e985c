#!lua flags=allow-oom
-- Renews leases: now, length, and id, epoch and nonce of each. Replies with `lost`, `held` or
-- `cancelled`, and the record's revision.

local prefix = KEYS[1] .. ':'
local call = redis.call
local function int(number) return string.format('%.0f', number) end
local expires = tonumber(ARGV[1]) + tonumber(ARGV[2])
local replies = {}
for at = 3, #ARGV, 3 do
  local id = ARGV[at]
  local key = prefix .. 't:' .. id
  local fields = call('HMGET', key, 'phase', 'epoch', 'nonce', 'until', 'due', 'sequence', 'stop')
  if fields[1] ~= 'running' or fields[2] ~= ARGV[at + 1] or fields[3] ~= ARGV[at + 2] then
    table.insert(replies, {'lost', '0', '0'})
  else
    local renewed = math.max(tonumber(fields[4]), expires)
    local revision = call('HINCRBY', key, 'revision', 1)
    call('HSET', key, 'until', int(renewed))
    local due = math.min(tonumber(fields[5]), renewed)
    call('ZADD', prefix .. 'due', int(due), string.format('%012x', tonumber(fields[6])) .. id)
    table.insert(replies, {fields[7] == '1' and 'cancelled' or 'held', int(revision), int(renewed)})
  end
end
return replies
