#!lua flags=no-writes
-- Finds the running tasks whose leases have one of these nonces. Replies with id, epoch and nonce of
-- each.

local prefix = KEYS[1] .. ':'
local wanted = {}
for _, nonce in ipairs(ARGV) do wanted[nonce] = true end
local found = {}
for _, id in ipairs(redis.call('ZRANGE', prefix .. 'p:running', 0, -1)) do
  local fields = redis.call('HMGET', prefix .. 't:' .. id, 'epoch', 'nonce')
  if fields[2] and wanted[fields[2]] then table.insert(found, {id, fields[1], fields[2]}) end
end
return found
