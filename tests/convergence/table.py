"""Every public variable: what it is set to, what it is changed to, and what the running hub shows then.

A row is converged together with all others: every `first` value in one run, every `then` in the next, and in the third
none of them, when `default` must show. Variables that cannot go together have a test of their own, which
ELSEWHERE names.
"""

from __future__ import annotations

import rows_addresses
import rows_config
import rows_images
import rows_servers
import rows_users

ROWS = [*rows_users.ROWS, *rows_addresses.ROWS, *rows_servers.ROWS, *rows_images.ROWS, *rows_config.ROWS]

# Variables that cannot be set together with the others, and the function that tests each, in test_variables.py, or in
# tests/quickstart where the machine is its own controller, or in tests/backup.
ELSEWHERE = {
    "jupyterhub_home_users[].renamed_from": "test_a_renamed_user_finds_the_old_files",
    "jupyterhub_home_allow_no_users": "test_no_users",
    "jupyterhub_home_allow_mass_removal": "test_many_users_at_once",
    "jupyterhub_home_project": "test_a_second_hub",
    "jupyterhub_home_directory": "test_a_second_hub",
    "jupyterhub_home_user_image": "test_a_second_hub",
    "jupyterhub_home_delete_data": "test_removing_the_second_hub",
    "jupyterhub_home_delete_packages": "test_nothing_is_left_but_what_uninstalling_says",
    "jupyterhub_home_docker_source": "test_docker_source",
    "jupyterhub_home_free_disk_min": "test_free_disk",
    "jupyterhub_home_trial": "test_trial",
    "jupyterhub_home_renew": "test_renewing_by_a_schedule",
    "jupyterhub_home_backup": "test_timer",
    "jupyterhub_home_backup_notify": "test_notify",
    "jupyterhub_home_restore_user": "test_one_user",
    "jupyterhub_home_restore_file": "test_one_file",
    "jupyterhub_home_restore_snapshot": "test_one_file",
    "jupyterhub_home_restore_over": "test_over_another_hub",
    "jupyterhub_home_backup_repository": "test_repository",
    "jupyterhub_home_backup_password": "test_password",
    "jupyterhub_home_backup_environment": "test_environment",
    "jupyterhub_home_backup_keep": "test_keep",
}
