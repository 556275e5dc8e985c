-- Who is next: the order of claiming, the limits and the rates.
--
-- Ready tasks of one tool version, in or out of suspicion, are a group. Inside it, tasks that need the
-- same gates open form a lane: a sorted set of `place .. id` in the order of claiming. The lane
-- without gates is never closed and has no more than that. Any other lane stands in the order of its
-- first task; when a claim comes to one and finds a gate closed, the lane is parked behind that gate,
-- and stays until the gate opens and the first lane behind it is offered again. So a claim looks at
-- few lanes whatever the number of tasks and of keys, and what is parked is found by its gate.
--
-- A place is 16 characters: 4 hexadecimal digits of the inverted priority, 12 of the sequence.

local call = redis.call
local prefix = KEYS[1] .. ':'

-- Whole numbers of any size as text; tostring would write 1e+15.
local function int(number)
  return string.format('%.0f', number)
end

local function task_key(id) return prefix .. 't:' .. id end
local function lane_key(group, lane) return prefix .. 'r:' .. #group .. ':' .. group .. lane end
local function open_key(group) return prefix .. 'ro:' .. group end
local function place_key(group) return prefix .. 'rp:' .. group end
local function parked_key(group, gate) return prefix .. 'rg:' .. #group .. ':' .. group .. gate end
local function offered_key(group) return prefix .. 'rf:' .. group end
local function offer_key(group) return prefix .. 'rx:' .. group end
local function behind_key(gate) return prefix .. 'rb:' .. gate end

-- The tool of a group: a digit for suspicion, then length, colon, name and version.
local function tool_of(group)
  local length, rest = string.match(group, '^.(%d+):(.*)$')
  return string.sub(rest, 1, tonumber(length))
end

-- The rule that governs a key, which is length, colon, rule and value.
local function rule_of(key)
  local length, rest = string.match(key, '^(%d+):(.*)$')
  return call('HGET', prefix .. 'rules', string.sub(rest, 1, tonumber(length)))
end

-- The interval and the burst of a rate.
local function rate_of(key)
  local rule = rule_of(key)
  if not rule then return nil end
  local interval, burst = string.match(rule, '^R(%d+):(%d+)$')
  if not interval then return nil end
  return tonumber(interval), tonumber(burst)
end

-- From when on a rate allows a start; nil if it does now and always did.
local function opens_at(key)
  local interval, burst = rate_of(key)
  if not interval then return nil end
  local arrival = call('ZSCORE', prefix .. 'rates', key)
  if not arrival then return nil end
  return math.ceil((tonumber(arrival) - interval * (burst - 1)) / 1000)
end

local function is_open(gate, now)
  local kind, key = string.sub(gate, 1, 1), string.sub(gate, 2)
  if kind == 'L' then
    local rule = rule_of(key)
    if not rule or string.sub(rule, 1, 1) ~= 'L' then return true end
    local held = tonumber(call('HGET', prefix .. 'held', key) or '0')
    return held < tonumber(string.sub(rule, 2))
  end
  local opens = opens_at(key)
  return opens == nil or opens <= now
end

-- The first gate of a lane that is closed.
local function closed_gate(lane, now)
  if lane == '' then return nil end
  for _, gate in ipairs(cjson.decode(lane)) do
    if not is_open(gate, now) then return gate end
  end
  return nil
end

-- Lets the first lane behind a gate take part again, for the gate may have opened.
local function offer(group, gate)
  local first = call('ZRANGE', parked_key(group, gate), 0, 0)[1]
  local place = first and string.sub(first, 1, 16)
  local before = call('HGET', offer_key(group), gate)
  if before == (place or false) then return end
  if before then call('ZREM', offered_key(group), before .. gate) end
  if place then
    call('ZADD', offered_key(group), 0, place .. gate)
    call('HSET', offer_key(group), gate, place)
  else
    call('HDEL', offer_key(group), gate)
  end
end

-- Forgets that a group has lanes behind a gate, if it has none any more: nobody else may come to look.
local function unpark(group, gate)
  if call('EXISTS', parked_key(group, gate)) == 0 then call('SREM', behind_key(gate), group) end
end

local function offer_all(gate)
  for _, group in ipairs(call('SMEMBERS', behind_key(gate))) do
    if call('EXISTS', parked_key(group, gate)) == 1 then
      offer(group, gate)
    else
      call('SREM', behind_key(gate), group)
    end
  end
end

-- Puts a lane where its first task belongs, or forgets it if it is empty.
local function stand(group, lane)
  if lane == '' then return end
  local head = call('ZRANGE', lane_key(group, lane), 0, 0)[1]
  local place = head and string.sub(head, 1, 16)
  local at = call('HGET', place_key(group), lane)
  local old = at and string.sub(at, 1, 16)
  if old == place then return end
  local gate = at and string.sub(at, 17) or ''
  local index = gate == '' and open_key(group) or parked_key(group, gate)
  if old then call('ZREM', index, old .. lane) end
  if place then
    call('ZADD', index, 0, place .. lane)
    call('HSET', place_key(group), lane, place .. gate)
  else
    call('HDEL', place_key(group), lane)
  end
  if gate ~= '' then
    if call('HEXISTS', offer_key(group), gate) == 1 then offer(group, gate) end
    if not place then unpark(group, gate) end
  end
end

local function ready_insert(group, lane, member)
  call('ZADD', lane_key(group, lane), 0, member)
  call('SADD', prefix .. 'groups', group)
  stand(group, lane)
end

local function ready_remove(group, lane, member)
  call('ZREM', lane_key(group, lane), member)
  stand(group, lane)
end

-- Moves a lane behind a gate that is closed.
local function park(group, lane, gate)
  local at = call('HGET', place_key(group), lane)
  local place, old = string.sub(at, 1, 16), string.sub(at, 17)
  if old == '' then
    call('ZREM', open_key(group), place .. lane)
  else
    call('ZREM', parked_key(group, old), place .. lane)
    offer(group, old)
    unpark(group, old)
  end
  call('ZADD', parked_key(group, gate), 0, place .. lane)
  call('HSET', place_key(group), lane, place .. gate)
  call('SADD', behind_key(gate), group)
end

-- The first task of a group's lanes with gates: its lane and its member.
local function first_gated(group, now)
  while true do
    local open = call('ZRANGE', open_key(group), 0, 0)[1]
    local offered = call('ZRANGE', offered_key(group), 0, 0)[1]
    local lane
    if not open and not offered then
      return nil
    elseif open and (not offered or string.sub(open, 1, 16) <= string.sub(offered, 1, 16)) then
      lane = string.sub(open, 17)
    else
      local gate = string.sub(offered, 17)
      if is_open(gate, now) then
        lane = string.sub(call('ZRANGE', parked_key(group, gate), 0, 0)[1], 17)
      else
        call('ZREM', offered_key(group), offered)
        call('HDEL', offer_key(group), gate)
      end
    end
    if lane then
      local gate = closed_gate(lane, now)
      if not gate then
        return lane, call('ZRANGE', lane_key(group, lane), 0, 0)[1]
      end
      park(group, lane, gate)
    end
  end
end

-- What is paused: `*` for everything, `t` and a name for a tool. No script changes it and then asks.
local paused
local function read_paused()
  if not paused then
    paused = {}
    for _, queue in ipairs(call('SMEMBERS', prefix .. 'paused')) do
      paused[queue] = true
    end
  end
  return paused
end

-- Whether `by` has the tool of a group, and it is not paused.
local function serves(by, group)
  if not string.find(by.tools, '\n' .. string.sub(group, 2) .. '\n', 1, true) then return false end
  local paused = read_paused()
  return not paused['*'] and not paused['t' .. tool_of(group)]
end

-- Offers what waited for rates that have opened. A tick announces them and forgets them.
local function open_rates(now)
  local opened = call('ZRANGEBYSCORE', prefix .. 'opening', '-inf', int(now))
  for _, key in ipairs(opened) do
    offer_all('R' .. key)
  end
  return opened
end

-- The first ready task that `by` may take: its group, lane and member.
local function first_ready(by, suspects, now)
  local best, best_group, best_lane
  local groups = call('SMEMBERS', prefix .. 'groups')
  -- Mostly there are none, and nothing stands behind a rate either.
  if #groups > 0 then open_rates(now) end
  for _, group in ipairs(groups) do
    local wanted = (suspects or string.sub(group, 1, 1) == '0') and serves(by, group)
    if wanted then
      local free = call('ZRANGE', lane_key(group, ''), 0, 0)[1]
      local gated = call('EXISTS', place_key(group)) == 1
      if not free and not gated then call('SREM', prefix .. 'groups', group) end
      if free and (not best or free < best) then
        best, best_group, best_lane = free, group, ''
      end
      if gated then
        local lane, member = first_gated(group, now)
        if member and (not best or member < best) then
          best, best_group, best_lane = member, group, lane
        end
      end
    end
  end
  return best_group, best_lane, best
end

local function hold(key, delta)
  local left = call('HINCRBY', prefix .. 'held', key, delta)
  if left <= 0 then call('HDEL', prefix .. 'held', key) end
  if tonumber(delta) < 0 then offer_all('L' .. key) end
end

-- How long the pace at which tasks of a quota leave the queue is remembered.
local PACE = 3600000

-- Counts tasks that wait under a quota, and how fast they leave: the last time and the usual interval,
-- of which the last few count most.
local function wait(key, delta, now)
  local left = call('HINCRBY', prefix .. 'waiting', key, delta)
  if left <= 0 then call('HDEL', prefix .. 'waiting', key) end
  if tonumber(delta) >= 0 then return end
  local last, interval = string.match(call('HGET', prefix .. 'paces', key) or '', '^(%d+) (%d*)$')
  if last then
    local latest = math.max(0, now - tonumber(last))
    interval = int(interval == '' and latest or (tonumber(interval) * 3 + latest) / 4)
  end
  call('HSET', prefix .. 'paces', key, int(now) .. ' ' .. (interval or ''))
  call('PEXPIRE', prefix .. 'paces', PACE)
end

-- Counts a task by what it is, before a change and after it. Counts that are missing are not begun with
-- this one: they are made of all tasks when somebody asks (stats.lua).
local counted
local function tally(id, delta)
  if counted == nil then counted = call('EXISTS', prefix .. 'counts') == 1 end
  if not counted then return end
  local fields = call('HMGET', task_key(id), 'tool', 'owner', 'phase', 'standing')
  if not fields[3] then return end
  local kind = cjson.encode(fields)
  local left = call('HINCRBY', prefix .. 'counts', kind, delta)
  if left <= 0 then call('HDEL', prefix .. 'counts', kind) end
end

-- Takes a start from a rate; true if the rate is closed now.
local function start(key, now)
  local interval = rate_of(key)
  if not interval then return false end
  local arrival = tonumber(call('ZSCORE', prefix .. 'rates', key) or '0')
  arrival = math.max(arrival, now * 1000) + interval
  call('ZADD', prefix .. 'rates', int(arrival), key)
  local opens = opens_at(key)
  if opens > now then
    call('ZADD', prefix .. 'opening', int(opens), key)
    return true
  end
  call('ZREM', prefix .. 'opening', key)
  return false
end

-- Takes from its gates what a task of this lane needs to run.
local function pass(lane, now, notices)
  if lane == '' then return end
  for _, gate in ipairs(cjson.decode(lane)) do
    local gated = string.sub(gate, 2)
    if string.sub(gate, 1, 1) == 'L' then
      hold(gated, 1)
    elseif start(gated, now) then
      table.insert(notices, 'D' .. int(tonumber(call('ZSCORE', prefix .. 'opening', gated))))
    end
  end
end

-- A record as it is read: its fields, and its long values.
local function load(id)
  return {call('HGETALL', task_key(id)), call('HMGET', prefix .. 'd:' .. id, 'spec', 'state', 'outcome')}
end

-- Gives a ready task to a worker: what `Task::claim` does to the fields that it changes. Nothing if its
-- place was left behind by a record that somebody has damaged or deleted by hand.
local function claim_one(group, lane, member, by, now, notices)
  local id = string.sub(member, 17)
  local key = task_key(id)
  local fields = call('HMGET', key, 'sequence', 'epoch', 'attempt', 'resuming', 'started', 'ended',
    'waits', 'due', 'version', 'revision', 'phase')
  local sequence, epoch, attempt = fields[1], tonumber(fields[2]), tonumber(fields[3])
  local version, due = tonumber(fields[9]), tonumber(fields[8])
  local expires = now + by.lease
  ready_remove(group, lane, member)
  if fields[11] ~= 'queued' then return nil end
  if not (epoch and attempt and version and due and tonumber(fields[10])) then
    -- It is looked at as soon as may be, and fails.
    local place = call('ZSCORE', prefix .. 'all', id)
    if place then
      call('ZADD', prefix .. 'due', int(now), string.format('%012x', tonumber(place)) .. id)
      table.insert(notices, 'D' .. int(now))
    end
    return nil
  end
  version = version + 1
  by.claimed = by.claimed + 1
  tally(id, -1)
  local changes = {'revision', int(tonumber(fields[10]) + 1), 'phase', 'running', 'keeps_keys', '0',
    'held_over', '', 'epoch', int(epoch + 1), 'worker', by.worker, 'nonce', by.nonces[by.claimed],
    'until', int(expires), 'version', int(version)}
  local function change(name, value)
    table.insert(changes, name)
    table.insert(changes, value)
  end
  local event
  if fields[6] == '1' then
    change('cleanup', 'running')
    change('updated', int(now))
    event = '{"type":"cleaning_up"}'
  else
    if fields[4] ~= '1' then attempt = attempt + 1 end
    change('resuming', '0')
    change('attempt', int(attempt))
    change('ready', '')
    if fields[5] == '' then change('started', int(now)) end
    event = '{"type":"started","attempt":' .. int(attempt) .. '}'
    if fields[7] ~= '' then
      for _, waiting in ipairs(cjson.decode(fields[7])) do wait(waiting, -1, now) end
      change('waits', '')
    end
  end
  call('HSET', key, unpack(changes))
  tally(id, 1)
  call('RPUSH', prefix .. 'e:' .. id, '[' .. int(now) .. ',' .. event .. ']')
  call('ZREM', prefix .. 'p:queued', id)
  call('ZADD', prefix .. 'p:running', sequence, id)
  due = math.min(due, expires)
  call('ZADD', prefix .. 'due', int(due), string.format('%012x', tonumber(sequence)) .. id)
  table.insert(notices, 'C' .. id .. int(version))
  table.insert(notices, 'D' .. int(due))
  pass(lane, now, notices)
  local journal = {}
  if epoch > 0 then journal = call('HGETALL', prefix .. 'j:' .. id) end
  local loaded = load(id)
  table.insert(loaded, journal)
  return loaded
end

local function claim(by, limit, now, notices)
  local given = {}
  while #given < limit do
    local group, lane, member = first_ready(by, by.suspects, now)
    if not member then break end
    -- Of several suspects only the first may run.
    by.suspects = by.suspects and string.sub(group, 1, 1) == '0'
    table.insert(given, claim_one(group, lane, member, by, now, notices))
  end
  return given
end

-- Reads who claims from the arguments at `at`: the worker, the length of its leases, whether it takes
-- suspects, its tool versions, each between two ends of lines, and the nonces. Returns that and where the
-- arguments go on.
local function read_by(at)
  local by = {worker = ARGV[at], lease = tonumber(ARGV[at + 1]), suspects = ARGV[at + 2] == '1',
    tools = ARGV[at + 3], nonces = {}, claimed = 0}
  local nonces = tonumber(ARGV[at + 4])
  for index = 1, nonces do by.nonces[index] = ARGV[at + 4 + index] end
  return by, at + 5 + nonces
end

-- Tells every process that listens, after what this one has to say itself.
local function publish(origin, told, notices)
  local text = table.concat(notices, '\n')
  if told ~= '' and text ~= '' then
    text = told .. '\n' .. text
  elseif text == '' then
    text = told
  end
  if text ~= '' then
    call('PUBLISH', prefix .. 'notices', origin .. '\n' .. text)
  end
end
