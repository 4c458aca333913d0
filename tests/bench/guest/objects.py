# Python: calls, dictionaries, objects, floats, strings.


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


class Value:
    def __init__(self, x):
        self.x = x

    def add(self, other):
        return Value(self.x + other.x)


counts = {}
for i in range(120000):
    counts[i * 7919 % 10007] = counts.get(i % 10007, 0) + i

value = Value(0)
for i in range(100000):
    value = value.add(Value(i))

basel = 0.0
for i in range(1, 200000):
    basel += 1.0 / (i * i)

text = ''.join(chr(97 + i % 26) for i in range(100000))
print(fib(22), len(counts), sum(counts.values()), value.x, repr(basel), text.count('abc'))
