#!lua flags=no-writes
-- What is due: now, and how many at most. Replies with their ids, the next moment after now at which
-- a record is due, whether rates have opened, and when the next one will.

local prefix = KEYS[1] .. ':'
local call = redis.call
local due = call('ZRANGEBYSCORE', prefix .. 'due', '-inf', ARGV[1], 'LIMIT', 0, tonumber(ARGV[2]))
local first = call('ZRANGE', prefix .. 'due', 0, 0, 'WITHSCORES')
local opened = call('ZCOUNT', prefix .. 'opening', '-inf', ARGV[1])
local opening = call('ZRANGEBYSCORE', prefix .. 'opening', '(' .. ARGV[1], '+inf', 'WITHSCORES',
  'LIMIT', 0, 1)
return {due, first[2] or '', opened, opening[2] or ''}
