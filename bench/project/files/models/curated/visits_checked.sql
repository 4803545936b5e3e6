-- kind: append
SELECT visit_id, patient_id, clinic, code, started_at, billed_on, minutes, cost, note
FROM raw.visits
