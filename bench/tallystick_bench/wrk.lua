-- The load of `tallystick bench --wrk`. Arguments: the file of payments (source, destination and amount in each
-- line), how every idempotency key of this turn begins, the number of transfers in a request (0: one, at
-- /v1/transfers), and `pay` or `read`: with `read` the balances of the payers are read, as many in a request.

local thread_count = 0

function setup(thread)
   thread_count = thread_count + 1
   thread:set("number", thread_count)
end

function init(arguments)
   payments = {}
   accounts = {}
   for line in io.lines(arguments[1]) do
      local source, destination, amount = line:match("(%S+) (%S+) (%S+)")
      accounts[#accounts + 1] = source
      payments[#payments + 1] = string.format(
         '"source":"%s","destination":"%s","amount":"%s","asset":"USD"}', source, destination, amount)
   end
   begin = arguments[2] .. "-" .. number .. "-"
   batch_size = tonumber(arguments[3])
   reads = arguments[4] == "read"
   -- Each thread begins at another place of the list.
   made = number * 7919
   wrk.headers["Authorization"] = "Bearer " .. os.getenv("TALLYSTICK_BENCH_API_KEY")
   wrk.headers["Content-Type"] = "application/json"
end

local function next_payment()
   made = made + 1
   return payments[made % #payments + 1]
end

local function next_account()
   made = made + 1
   return accounts[made % #accounts + 1]
end

local function read_request()
   if batch_size == 0 then
      return wrk.format("GET", "/v1/accounts/" .. next_account() .. "/balance")
   end
   local chosen = {}
   for place = 1, batch_size do
      chosen[place] = '"' .. next_account() .. '"'
   end
   return wrk.format("POST", "/v1/balances", nil, '{"accounts":[' .. table.concat(chosen, ",") .. "]}")
end

function request()
   if reads then
      return read_request()
   end
   if batch_size == 0 then
      local payment = next_payment()
      wrk.headers["Idempotency-Key"] = begin .. made
      return wrk.format("POST", "/v1/transfers", nil, "{" .. payment)
   end
   local transfers = {}
   for place = 1, batch_size do
      local payment = next_payment()
      transfers[place] = '{"idempotency_key":"' .. begin .. made .. '",' .. payment
   end
   return wrk.format(
      "POST", "/v1/transfers/batch", nil, '{"transfers":[' .. table.concat(transfers, ",") .. "]}")
end

-- Latencies are written as the values at 1,000 equal steps of their distribution, in microseconds.
function done(summary, latency, requests)
   local quantiles = {}
   for step = 1, 1000 do
      quantiles[step] = latency:percentile((step - 0.5) / 10)
   end
   local errors = summary.errors
   local file = io.open(os.getenv("TALLYSTICK_BENCH_RESULT"), "w")
   file:write(string.format(
      '{"requests":%d,"duration_us":%d,"refused":%d,"failed":%d,"latencies_us":[%s]}\n',
      summary.requests, summary.duration, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout, table.concat(quantiles, ",")))
   file:close()
end
