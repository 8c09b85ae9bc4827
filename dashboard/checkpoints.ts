/** Whether a model is a checkpoint of a job: it is a model too, but seldom the one that is wanted. */
export function isCheckpoint(model: string): boolean {
  return /:ckpt-step-\d+$/.test(model);
}

/** "1 checkpoint of jobs" */
export function checkpointsText(count: number): string {
  return `${count} ${count === 1 ? "checkpoint" : "checkpoints"} of jobs`;
}
