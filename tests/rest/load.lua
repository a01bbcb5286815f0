-- For wrk: calls of echo, each with a body of its own thread, whose answers are counted by what they are.  Prints one
-- line of JSON at the end.  Arguments: token, target, body.
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   seen = {}
   wrong = ""
   wanted = '{"success":true,"result":' .. args[3] .. "}"
   request_text = wrk.format("POST", args[2], {["Authorization"] = "Bearer " .. args[1],
                                               ["Content-Type"] = "application/json"}, args[3])
end

function request()
   return request_text
end

-- "200" when it is the very result, else the status and the code of the failure; what is neither is kept to be shown.
local function kind(status, body)
   if status == 200 and body == wanted then return "200" end
   local code = status ~= 200 and string.match(body, '^{"success":false,"error":{"code":"([a-z_]+)"')
   if code then return status .. " " .. code end
   wrong = status .. " " .. body
   return "wrong"
end

function response(status, headers, body)
   local k = kind(status, body)
   seen[k] = (seen[k] or 0) + 1
end

function done(summary, latency, requests)
   local total, bad = {}, ""
   for _, thread in ipairs(threads) do
      for k, n in pairs(thread:get("seen")) do total[k] = (total[k] or 0) + n end
      if thread:get("wrong") ~= "" then bad = thread:get("wrong") end
   end
   local parts = {}
   for k, n in pairs(total) do table.insert(parts, string.format('"%s":%d', k, n)) end
   local e = summary.errors
   io.write(string.format('\n@{"answers":{%s},"requests":%d,"socket_errors":%d,"wrong":%q}\n', table.concat(parts, ","),
                          summary.requests, e.connect + e.read + e.write + e.timeout, string.sub(bad, 1, 200)))
end
