"""A folder of students' notebooks into one page and one table: who solved what, and which mistakes were made how often.

`command` is what one calls, `submission` runs one notebook from outside, `student` is the process that runs it, `box` keeps
that process from the network and from other files, and `page` writes what came out.
"""
