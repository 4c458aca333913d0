-- Lua: tables, string formatting, sorting, floats.
local function sieve(n)
    local prime, count = {}, 0
    for i = 2, n do prime[i] = true end
    for i = 2, n do
        if prime[i] then
            count = count + 1
            for k = i * i, n, i do prime[k] = false end
        end
    end
    return count
end

local primes = 0
for _ = 1, 3 do primes = primes + sieve(300000) end

local strings = {}
for i = 1, 60000 do strings[#strings + 1] = ("%d:%x"):format(i, i * 31) end
table.sort(strings)

local x = 0.0
for i = 1, 3000000 do x = x + (i % 7) * 0.5 end
print(primes, strings[1], strings[#strings], x)
