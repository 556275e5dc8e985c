#!lua
-- Puts a small record: its name, its text, how long it is kept (or nothing), and, if it is to be put
-- only then, the text that must be there (none for an empty one).

local key = KEYS[1] .. ':' .. ARGV[1]
if ARGV[4] and (redis.call('GET', key) or '') ~= ARGV[4] then return 0 end
redis.call('SET', key, ARGV[2])
if ARGV[3] ~= '' then redis.call('PEXPIRE', key, ARGV[3]) end
return 1
