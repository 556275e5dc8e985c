#!lua flags=no-writes
-- A page of a log: id, offset, how many bytes at most. Replies with where the log ends, the mark, and
-- the pieces; nothing if there is no such task.

local prefix = KEYS[1] .. ':'
local call = redis.call
local id, offset, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if call('EXISTS', prefix .. 't:' .. id) == 0 then return {} end
local info = call('HMGET', prefix .. 'd:' .. id, 'log', 'mark')
local key, pieces, bytes = prefix .. 'l:' .. id, {}, 0
local first = call('ZREVRANGEBYSCORE', key, ARGV[2], '-inf', 'WITHSCORES', 'LIMIT', 0, 1)[2] or '-inf'
local skipped = 0
repeat
  local page = call('ZRANGEBYSCORE', key, first, '+inf', 'LIMIT', skipped, 16)
  for _, piece in ipairs(page) do
    local start, length = string.match(piece, '^(%d+):(%d+):')
    start, length = tonumber(start), tonumber(length)
    if start + length > offset then
      if bytes >= limit and #pieces > 0 then return {info[1] or '0', info[2] or '', pieces} end
      bytes = bytes + length - math.max(0, offset - start)
      table.insert(pieces, piece)
    end
  end
  skipped = skipped + #page
until #page == 0
return {info[1] or '0', info[2] or '', pieces}
