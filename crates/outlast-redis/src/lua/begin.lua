#!lua flags=allow-oom
-- Takes a new store for a server: the layout, the oldest that is compatible with it, and the server's
-- name. Replies with what is known of the store; of several that begin at once all get the same reply.

local meta = KEYS[1] .. ':meta'
local call = redis.call
if call('EXISTS', meta) == 0 then
  call('HSET', meta, 'version', ARGV[1], 'compatible_from', ARGV[2], 'server', ARGV[3])
end
return call('HGETALL', meta)
