-- Applies a decision if what it was made from still holds, or changes nothing.
--
-- Arguments: now, origin, notices, which shard it is (see `shards`), who claims (or an empty string), how
-- many to claim afterwards, the number of guards and the guards, the number of operations and the operations. A guard that
-- does not hold ends the script before it has written anything; operations cannot fail.

local now = tonumber(ARGV[1])
local by, at = nil, 6
if ARGV[5] ~= '' then by, at = read_by(5) end
local limit = tonumber(ARGV[at])
at = at + 1

local function take(count)
  local first = at
  at = at + count
  return unpack(ARGV, first, at - 1)
end

for _ = 1, tonumber(take(1)) do
  local kind = take(1)
  if kind == 'revision' then
    local id, revision, nonce = take(3)
    local fields = call('HMGET', task_key(id), 'revision', 'nonce')
    if (fields[1] or '0') ~= revision or (fields[2] or '') ~= nonce then return {'stale'} end
  elseif kind == 'lease' then
    local id, epoch, nonce = take(3)
    local fields = call('HMGET', task_key(id), 'phase', 'epoch', 'nonce')
    if fields[1] ~= 'running' or fields[2] ~= epoch or fields[3] ~= nonce then return {'lost'} end
  elseif kind == 'value' then
    local key, expected = take(2)
    if (call('GET', prefix .. key) or '') ~= expected then return {'stale'} end
  elseif kind == 'fewer' then
    local key, most = take(2)
    local members = call('ZCARD', prefix .. key)
    if members >= tonumber(most) then return {'many', members} end
  elseif kind == 'unrecorded' then
    local id, name = take(2)
    local there = call('HGET', prefix .. 'j:' .. id, name)
    if there then return {'there', there} end
  end
end

local sequences, notices = {}, {}
-- Whether the task that is created is claimed with it, and what the others are told then instead.
local fused, told = false, ARGV[3]

-- Whether a task that is about to be created may be claimed with it.
local function fuses(mode, phase, group, lane, place)
  if mode == '' or phase ~= 'queued' then return false end
  if mode == 'running' then return closed_gate(lane, now) == nil end
  if not serves(by, group) or closed_gate(lane, now) then return false end
  local _, _, first = first_ready(by, by.suspects, now)
  return not first or place < first
end

-- After how many milliseconds there may be room in a full queue: not before its rates allow a start,
-- and when the next task is to leave it, going by those that left it last. 0 if nothing is known, -1 if
-- the queue is paused.
local function room_after(key, group, lane)
  local paused = read_paused()
  if paused['*'] or paused['t' .. tool_of(group)] then return -1 end
  local opening = 0
  if lane ~= '' then
    for _, gate in ipairs(cjson.decode(lane)) do
      local opens = string.sub(gate, 1, 1) == 'R' and opens_at(string.sub(gate, 2))
      if opens then opening = math.max(opening, opens - now) end
    end
  end
  local last, interval = string.match(call('HGET', prefix .. 'paces', key) or '', '^(%d+) (%d+)$')
  if not last then return opening end
  -- Any moment is not nothing.
  return math.max(opening, tonumber(interval) - (now - tonumber(last)), 1)
end

local keys_of = {'t:', 'd:', 'e:', 'j:', 's:', 'l:', 'b:'}

-- Of how many shards this store is, which of them, and the place behind which new tasks stand; nothing
-- if it is not of several.
local shards, shard, seen = string.match(ARGV[4], '^(%d+) (%d+) (%d+)$')

-- The next place in the order of creation. A shard of several has every so-manieth number to itself, and
-- stands behind whatever the process that asks has seen of the others: 64 places go with each millisecond
-- since the beginning of 2025, and more are taken from the time to come.
local function next_place()
  local place = tonumber(call('GET', prefix .. 'sequence') or '0') + 1
  if not shard then return place end
  place = math.max(place, tonumber(seen) + 1, (now - 1735689600000) * 64)
  return place + (tonumber(shard) - place) % tonumber(shards)
end

local operations = {}

-- A creation: id, priority in hexadecimal, group, lane, phase, due, mode of the claim, whether its
-- quotas are checked, keys of quotas to be counted, sorted sets it is a member of by sequence, fields,
-- long values, events, and if it may be claimed how it is then: due, what others are told, the fields that
-- are different, and an event more.
operations['create'] = function()
  local id, priority, group, lane, phase, due, mode = take(7)
  local unchecked = take(1) ~= '1'
  local waits = {take(tonumber(take(1)))}
  -- What cannot be refused any more takes its place at once.
  local placed = #waits == 0 and not shard
  local sequence = placed and call('INCR', prefix .. 'sequence') or next_place()
  local hex = string.format('%012x', sequence)
  local member = priority .. hex .. id
  fused = fuses(mode, phase, group, lane, member)
  if not (unchecked or fused) then
    for _, key in ipairs(waits) do
      local rule = rule_of(key)
      if rule and string.sub(rule, 1, 1) == 'Q'
        and tonumber(call('HGET', prefix .. 'waiting', key) or '0') >= tonumber(string.sub(rule, 2)) then
        return {'full', key, string.sub(rule, 2), int(room_after(key, group, lane))}
      end
    end
  end
  local sets = {take(tonumber(take(1)))}
  local fields = {take(tonumber(take(1)))}
  local values = {take(tonumber(take(1)))}
  local events = {take(tonumber(take(1)))}
  if mode ~= '' then
    local running_due, running_told = take(2)
    local changes = {take(tonumber(take(1)))}
    local event = take(1)
    if fused then
      phase, due, told = 'running', running_due, running_told
      for _, word in ipairs(changes) do table.insert(fields, word) end
      table.insert(events, event)
    end
  end
  if not placed then call('SET', prefix .. 'sequence', int(sequence)) end
  call('HSET', task_key(id), 'sequence', int(sequence), unpack(fields))
  call('HSET', prefix .. 'd:' .. id, unpack(values))
  if #events > 0 then call('RPUSH', prefix .. 'e:' .. id, unpack(events)) end
  tally(id, 1)
  for _, key in ipairs(waits) do wait(key, 1, now) end
  for _, set in ipairs(sets) do call('ZADD', prefix .. set, int(sequence), id) end
  call('ZADD', prefix .. 'p:' .. phase, int(sequence), id)
  call('ZADD', prefix .. 'due', due, hex .. id)
  if fused then
    -- Nothing stands before it, so it is not even put into its lane.
    for _, key in ipairs(waits) do wait(key, -1, now) end
    pass(lane, now, notices)
  elseif phase == 'queued' then
    ready_insert(group, lane, member)
  end
  table.insert(sequences, sequence)
end

-- Any command with a key of ours.
operations['call'] = function()
  local count = tonumber(take(1))
  local command, key = take(2)
  call(command, prefix .. key, take(count - 2))
end

operations['insert'] = function() ready_insert(take(3)) end
operations['remove'] = function() ready_remove(take(3)) end
operations['hold'] = function() hold(take(2)) end
operations['wait'] = function()
  local key, delta = take(2)
  wait(key, delta, now)
end
operations['tally'] = function() tally(take(2)) end

-- A journal entry behind those that are there.
operations['record'] = function()
  local id, name, entry = take(3)
  local key = prefix .. 'j:' .. id
  call('HSET', key, name, call('HLEN', key) .. ':' .. entry)
end

-- Text at the end of a log: the first of the dropped bytes and how many of the last are kept, the
-- mark, and the pieces, each with its length.
operations['log'] = function()
  local id, head, tail, mark, pieces = take(5)
  local info, key = prefix .. 'd:' .. id, prefix .. 'l:' .. id
  local size = tonumber(call('HGET', info, 'log') or '0')
  for _ = 1, tonumber(pieces) do
    local length, piece = take(2)
    call('ZADD', key, int(size), int(size) .. ':' .. length .. ':' .. piece)
    size = size + tonumber(length)
  end
  call('HSET', info, 'log', int(size))
  if mark ~= '' then call('HSET', info, 'mark', mark) end
  head, tail = tonumber(head), size - tonumber(tail)
  if size > head and tail > head then
    local last = call('ZRANGEBYSCORE', key, int(head), '(' .. int(tail))
    for _, piece in ipairs(last) do
      local first, length = string.match(piece, '^(%d+):(%d+):')
      if tonumber(first) + tonumber(length) <= tail then call('ZREM', key, piece) end
    end
  end
  table.insert(sequences, size)
end

-- Takes a task out of the list of its owner.
operations['disown'] = function()
  local owner, id = take(2)
  local key = prefix .. 'own:' .. owner
  call('ZREM', key, id)
  if call('EXISTS', key) == 0 then call('SREM', prefix .. 'owners', owner) end
end

-- Forgets a key that means this task.
operations['unname'] = function()
  local key, id = take(2)
  local value = call('GET', prefix .. key)
  if value and string.sub(value, 1, 36) == id then call('DEL', prefix .. key) end
end

-- Lets everything of a record expire by itself, should nobody come to delete it.
operations['expire'] = function()
  local id, after = take(2)
  for _, key in ipairs({'t:', 'd:', 'e:'}) do call('PEXPIRE', prefix .. key .. id, after) end
  local journal, signals, log, blobs = prefix .. 'j:' .. id, prefix .. 's:' .. id, prefix .. 'l:' .. id,
    prefix .. 'b:' .. id
  -- Most tasks have none of these.
  if call('EXISTS', journal, signals, log, blobs) == 0 then return end
  for _, blob in ipairs(call('SMEMBERS', blobs)) do call('PEXPIRE', blobs .. ':' .. blob, after) end
  for _, key in ipairs({journal, signals, log, blobs}) do call('PEXPIRE', key, after) end
end

-- A blob that an entry names stays as long as its task.
operations['keep'] = function()
  local id, blob = take(2)
  local key = prefix .. 'b:' .. id
  if call('EXISTS', key .. ':' .. blob) == 1 then
    call('PERSIST', key .. ':' .. blob)
    call('SADD', key, blob)
    call('HDEL', prefix .. 'blobs', id .. ' ' .. blob)
  end
end

-- Deletes a record with everything that belongs to it, and what indexes say of it.
operations['delete'] = function()
  local id, sequence, phase = take(3)
  tally(id, -1)
  for _, blob in ipairs(call('SMEMBERS', prefix .. 'b:' .. id)) do
    call('UNLINK', prefix .. 'b:' .. id .. ':' .. blob)
  end
  for _, key in ipairs(keys_of) do call('UNLINK', prefix .. key .. id) end
  call('ZREM', prefix .. 'p:' .. phase, id)
  call('ZREM', prefix .. 'due', string.format('%012x', tonumber(sequence)) .. id)
end

for _ = 1, tonumber(take(1)) do
  local refused = operations[take(1)]()
  if refused then return refused end
end

local given = limit > 0 and claim(by, limit, now, notices) or {}
publish(ARGV[2], told, notices)
return {'ok', sequences, given, notices, fused and 1 or 0}
