"""Problems with verifiers and, where there is one, an oracle for steps."""

from guerdon.tasks.task import Problem, Task, get_task, split_steps, task_names

__all__ = ["Problem", "Task", "get_task", "split_steps", "task_names"]
