"""Cards of published cohorts, one module a cohort."""
