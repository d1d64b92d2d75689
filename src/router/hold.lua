-- Holds the requests of a service while its gate is closed. Written by arkwright; changes are lost.
--
-- A gate closes for a limited time: when that is over it counts as open, so that nobody waits for an arkwright that
-- is gone. A request that its client gave up is not told to this script; it is recognised by not having been seen.

local gates = {}   -- service -> { ends = ms, longest = ms }
local queues = {}  -- service -> { [ticket] = { since = ms, seen = ms } }
local tickets = 0
local LOOK = 3     -- ms between two looks of a waiting request
local GONE = 1000  -- ms after which a request that does not look any more is gone

local function now()
  local t = core.now()
  return t.sec * 1000 + math.floor(t.usec / 1000)
end

-- A process that a reload has left behind holds nobody: it passes its requests on to the one that took over.
local left = { at = 0, behind = false }
local function behind()
  local time = now()
  if time - left.at >= 50 then
    left = { at = time, behind = tostring(core.get_info()["Stopping"]) == "1" }
  end
  return left.behind
end

local function closed(service)
  local gate = gates[service]
  return gate ~= nil and now() < gate.ends
end

local function count(service)
  local waiting, time = 0, now()
  for ticket, place in pairs(queues[service] or {}) do
    if time - place.seen > GONE then
      queues[service][ticket] = nil
    else
      waiting = waiting + 1
    end
  end
  return waiting
end

core.register_action("arkwright_gate", { "http-req" }, function(txn, service)
  if not closed(service) then
    return
  end
  tickets = tickets + 1
  local ticket, place = tickets, { since = now(), seen = now() }
  local queue = queues[service] or {}
  queues[service] = queue
  queue[ticket] = place
  local gate = gates[service]
  while closed(service) and not behind() do
    core.msleep(LOOK)
    place.seen = now()
    gate.longest = math.max(gate.longest, place.seen - place.since)
  end
  queue[ticket] = nil
end, 1)

core.register_cli({ "arkwright", "gate" },
  "arkwright gate close SERVICE MS | open SERVICE | show SERVICE",
  function(applet, _, _, verb, service, span)
    local gate = gates[service]
    if verb == "close" and tonumber(span) then
      if not closed(service) then
        gate = { ends = now() + math.floor(tonumber(span)), longest = 0 }
        gates[service] = gate
      end
      applet:send(string.format("closed %d\n", gate.ends))
    elseif verb == "open" and service then
      -- What was seen of this closing stays readable until the next one.
      if gate then
        gate.ends = 0
      end
      applet:send("open\n")
    elseif verb == "show" and service then
      applet:send(string.format("%s %d %d\n", closed(service) and "closed" or "open",
        count(service), gate and math.floor(gate.longest) or 0))
    else
      applet:send("not understood\n")
    end
  end)

-- Gates that were closed when the router was last started or reloaded: "closed:" service=ms,service=ms
for service, ends in string.gmatch(os.getenv("ARKWRIGHT_GATES") or "", "([^:=,]+)=(%d+)") do
  gates[service] = { ends = tonumber(ends), longest = 0 }
end
