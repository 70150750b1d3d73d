/**
 * CPU time of this process since a moment, in milliseconds: what a computation costs, whoever else
 * uses the machine. Ask twice: `const cpuMs = cpuTimer(); work(); cpuMs()`.
 */
export function cpuTimer(): () => number {
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
}
