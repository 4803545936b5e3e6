-- kind: append
-- Of a kind that is in the delivery each row takes Spark many milliseconds, in a task.
SELECT n.id, levenshtein(repeat(n.note, 300), repeat(k.word, 300)) AS distance
FROM raw.notes n
JOIN raw.kinds k ON k.kind = n.kind
