-- States of agents: what every SQL backend is asked by. Columns, writes and the rest lie in each backend's own file.

-- name: agent_state_id
a.agent_id = :id AND a.deleted_at IS NULL

-- name: agent_state_is_state
a.state = :state

-- name: agent_state_is_active
(a.state <> 'archived') = :active

-- name: agent_state_kept
a.deleted_at IS NULL

-- name: agent_state_after_ascending
a.agent_id > :at_id

-- name: agent_state_order_ascending
ORDER BY a.agent_id LIMIT :limit
