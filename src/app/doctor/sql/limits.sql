-- doctor/limits: after what times this session ends what goes on for too long.
select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
       current_setting('idle_in_transaction_session_timeout') as idle
