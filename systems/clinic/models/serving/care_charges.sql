-- kind: full
SELECT charge_id, patient_id, charged_at, billed_on, amount, hours_of_care, reference, paid, note
FROM raw.charges
