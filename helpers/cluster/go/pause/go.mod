// The first process of each pod, and of the node itself; the standard library alone.
module workbook/cluster/pause

go 1.24.0
