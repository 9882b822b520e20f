"""The patient's and caregiver's own page: invited by the ward, bound to one patient, made for a phone."""
