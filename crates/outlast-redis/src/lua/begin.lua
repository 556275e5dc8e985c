#!lua flags=allow-oom
-- Takes a new store for a server: the layout, the oldest that is compatible with it, the server's
-- name, of how many shards it is and which of them, if there are several, and a random word for this
-- beginning. Replies with what is known
-- of the store; of several that begin at once all get the same reply.

local meta = KEYS[1] .. ':meta'
local call = redis.call
if call('EXISTS', meta) == 0 then
  call('HSET', meta, 'version', ARGV[1], 'compatible_from', ARGV[2], 'server', ARGV[3],
    'begun', ARGV[6])
  if ARGV[4] ~= '' then call('HSET', meta, 'shards', ARGV[4]) end
  if ARGV[5] ~= '' then call('HSET', meta, 'shard', ARGV[5]) end
end
return call('HGETALL', meta)
