-- name: segments
-- What Chroma knows of. A segment of vectors is also a folder, which has its id for a name.
SELECT id FROM segments;
