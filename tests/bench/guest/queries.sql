PRAGMA synchronous = OFF;
CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER, c TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    INSERT INTO t SELECT i, (i * 7919) % 10007, printf('row-%d-%x', i, i * 31) FROM n;
CREATE INDEX tb ON t (b);
SELECT count(*), sum(a) FROM t WHERE b BETWEEN 100 AND 3000;
SELECT substr(c, 1, 6) AS start, count(*) FROM t GROUP BY start ORDER BY 2 DESC, 1 LIMIT 5;
SELECT count(*) FROM t x JOIN t y ON x.b = y.b WHERE x.a < 2000;
