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
  local fields = call('HMGET', key, 'phase', 'epoch', 'nonce', 'until', 'due', 'sequence', 'stop', 'revision')
  local due, until_, sequence = tonumber(fields[5]), tonumber(fields[4]), tonumber(fields[6])
  -- A record that somebody has damaged fails by itself, and takes no other lease along.
  local whole = due and until_ and sequence and tonumber(fields[8])
  if fields[1] ~= 'running' or fields[2] ~= ARGV[at + 1] or fields[3] ~= ARGV[at + 2] or not whole then
    table.insert(replies, {'lost', '0', '0'})
  else
    local renewed = math.max(until_, expires)
    local revision = call('HINCRBY', key, 'revision', 1)
    call('HSET', key, 'until', int(renewed))
    due = math.min(due, renewed)
    call('ZADD', prefix .. 'due', int(due), string.format('%012x', sequence) .. id)
    table.insert(replies, {fields[7] == '1' and 'cancelled' or 'held', int(revision), int(renewed)})
  end
end
return replies
