-- A mix of what interpreters do: calls, tables, strings, closures, floats, methods.
local function fib(n) if n < 2 then return n end return fib(n-1) + fib(n-2) end
local function sieve(n)
  local p, c = {}, 0
  for i = 2, n do p[i] = true end
  for i = 2, n do if p[i] then c = c + 1 for j = i*i, n, i do p[j] = false end end end
  return c
end
local function nbody(n)
  local x, y, vx, vy = {1.0,2.0,3.0}, {0.5,1.5,2.5}, {0.1,0.2,0.3}, {0.3,0.2,0.1}
  for _ = 1, n do
    for i = 1, 3 do for j = i+1, 3 do
      local dx, dy = x[i]-x[j], y[i]-y[j]
      local d = dx*dx + dy*dy + 0.01
      local m = 0.001 / (d * math.sqrt(d))
      vx[i] = vx[i] - dx*m vy[i] = vy[i] - dy*m vx[j] = vx[j] + dx*m vy[j] = vy[j] + dy*m
    end end
    for i = 1, 3 do x[i] = x[i] + vx[i]*0.001 y[i] = y[i] + vy[i]*0.001 end
  end
  return x[1] + y[3]
end
local Point = {} Point.__index = Point
function Point.new(x, y) return setmetatable({x=x, y=y}, Point) end
function Point:add(o) return Point.new(self.x + o.x, self.y + o.y) end
local function objects(n) local p, q = Point.new(0,0), Point.new(1,2) for _ = 1, n do p = p:add(q) end return p.x + p.y end
local function strings(n)
  local t = {}
  for i = 1, n do t[#t+1] = ("%d:%s"):format(i, ("x"):rep(i % 17)) end
  local s = table.concat(t, ",")
  local c = 0
  for w in s:gmatch("%d+:x*") do c = c + #w end
  return c, (s:gsub("x+", "y")):len()
end
local function closures(n) local f = function(x) return x end for i = 1, 50 do local g = f f = function(x) return g(x) + i end end local s = 0 for i = 1, n do s = s + f(i) end return s end
local function sorting(n) local t, x = {}, 42 for i = 1, n do x = (x * 1103515245 + 12345) % 2147483648 t[i] = x end table.sort(t) return t[1] + t[n] end
local parts = {{"fib",fib,32},{"sieve",sieve,1500000},{"nbody",nbody,300000},{"objects",objects,2500000},{"strings",strings,200000},{"closures",closures,50000},{"sorting",sorting,300000}}
local scale = tonumber(arg[1]) or 1
for _ = 1, scale do
for _, p in ipairs(parts) do
  local r = p[2](p[3])
  print(p[1], r)
end end
