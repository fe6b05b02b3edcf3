"""The aggregator service: enrolment, check-ins and the operator."""
